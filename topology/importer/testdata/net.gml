Creator "by hand"
# A comment.
graph [
  directed 0
  Network "Test &amp; net"
  node [ id 0 label "Z&#252;rich" Longitude 8.5 ]
  node [
    id 1
    label "Bern"
  ]
  node [ id 2 label "None" ]
  node [ id 3 label "None" ]
  node [ id 4 ]
  node [ id 5 label "4" ]
  edge [ source 0 target 1 LinkSpeed "10" LinkSpeedRaw 10000000000.0 metric 12 weight 99 srlgs "4,2" ]
  edge [ source 0 target 1 weight 3.0 ]
  edge [ source 1 target 2 srlgs 9 srlgs 8 dist 100.0 ]
  edge [ source 2 target 3 down 1 nested [ x 1 ] ]
  edge [ source 3 target 4 delay "2ms" bandwidth "20M" igp_metric 7 admin_group 6 ]
  edge [ source 4 target 5 ]
  edge [ source 5 target 5 ]
]
