//go:build race

package controller

// slack is what time limits are multiplied by.
const slack = 5
